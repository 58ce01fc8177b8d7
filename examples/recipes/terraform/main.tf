terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
    }
  }
}

provider "aws" {
  profile = "sandbox-reports"
  region  = "us-east-1"
}

data "aws_s3_objects" "reports" {
  bucket = "sandbox-reports"
  prefix = "reports/"
}

output "reports" {
  value = data.aws_s3_objects.reports.keys
}
